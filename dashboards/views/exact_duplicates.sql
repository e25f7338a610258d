-- dashboards/views/exact_duplicates.sql
-- One row an image whose pixels another image has too, in its data set or in another one.
SELECT
  pixel_hash, dataset, image_id, file_name, split, sha256,
  count(*) OVER same_pixels AS copies,
  count(*) OVER (PARTITION BY pixel_hash, sha256) AS copies_of_the_file,
  first(struct(dataset, image_id)) OVER (PARTITION BY pixel_hash ORDER BY dataset, image_id) AS first_copy
FROM images
WHERE pixel_hash IS NOT NULL
QUALIFY count(*) OVER same_pixels > 1
WINDOW same_pixels AS (PARTITION BY pixel_hash)
