-- One row an image scored by a model version, its detections as figures; NULL where it could not be scored.
-- Boxes are measured in shares of the image, aspect is width / height; NULL where a model gives classes of the whole.
WITH scored AS (
  SELECT
    p.dataset, p.image_id, p.model_name, p.model_version, p.status, p.predicted_at, p.latency_ms,
    i.split, i.captured_at, i.width, i.height,
    CASE WHEN p.status = 'ok' THEN p.detections END AS found,
    CASE WHEN p.status = 'ok' THEN filter(p.detections, d -> d.bbox IS NOT NULL) END AS boxed
  FROM predictions AS p
  JOIN images AS i ON i.dataset = p.dataset AND i.image_id = p.image_id
)
SELECT
  dataset, image_id, model_name, model_version, status, predicted_at, latency_ms, split, captured_at,
  size(found) AS num_detections,
  array_max(found.score) AS max_score,
  aggregate(found.score, 0D, (total, x) -> total + x) / nullif(size(found), 0) AS mean_score,
  aggregate(boxed, 0D, (total, d) -> total + d.bbox[2] * d.bbox[3])
    / nullif(size(boxed), 0) / (width * height) AS mean_area_share,
  aggregate(boxed, 0D, (total, d) -> total + coalesce(try_divide(d.bbox[2], d.bbox[3]), 0D))
    / nullif(size(boxed), 0) AS mean_box_aspect,
  aggregate(boxed, 0D, (total, d) -> total + d.bbox[0] + d.bbox[2] / 2)
    / nullif(size(boxed), 0) / width AS mean_center_x,
  aggregate(boxed, 0D, (total, d) -> total + d.bbox[1] + d.bbox[3] / 2)
    / nullif(size(boxed), 0) / height AS mean_center_y,
  get(filter(found, d -> d.score = array_max(found.score)), 0).category_name AS top_category
FROM scored
