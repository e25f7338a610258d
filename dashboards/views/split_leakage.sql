-- dashboards/views/split_leakage.sql
-- One row an image and another split that has the same image (exact) or one that looks the same (near).
WITH firsts AS (
  SELECT pixel_hash, dataset, split, min_by(struct(image_id, file_name), image_id) AS image
  FROM images
  WHERE pixel_hash IS NOT NULL
  GROUP BY pixel_hash, dataset, split
)
SELECT
  i.dataset, i.image_id, i.file_name, i.split,
  f.dataset AS other_dataset, f.image.image_id AS other_image_id, f.image.file_name AS other_file_name,
  f.split AS other_split, 'exact' AS kind, 0 AS distance
FROM images AS i
JOIN firsts AS f ON f.pixel_hash = i.pixel_hash AND f.split <> i.split
UNION ALL
SELECT
  dataset, image_id, file_name, split, other_dataset, other_image_id, other_file_name, other_split, 'near', distance
FROM near_duplicates
WHERE other_split <> split
