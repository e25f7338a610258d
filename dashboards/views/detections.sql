-- One row a detection: xywh in pixels of the stored image, NULL for a class of the whole image; its mask, if any.
SELECT
  p.dataset,
  p.image_id,
  p.model_name,
  p.model_version,
  p.position,
  p.found.label,
  p.found.category_id,
  p.found.category_name,
  p.found.score,
  p.found.bbox[0] AS x,
  p.found.bbox[1] AS y,
  p.found.bbox[2] AS width,
  p.found.bbox[3] AS height,
  p.found.bbox[2] * p.found.bbox[3] AS area,
  p.found.segmentation,
  p.predicted_at,
  p.run_id
FROM (
  SELECT
    dataset, image_id, model_name, model_version, predicted_at, run_id, posexplode(detections) AS (position, found)
  FROM predictions
  WHERE status = 'ok'
) AS p
