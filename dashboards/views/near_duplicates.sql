-- dashboards/views/near_duplicates.sql
-- One row an image and a set of images that look the same: of each data set and split with look-alikes the first.
-- Difference hashes at most 3 of 64 bits apart agree in one of 4 bands of 16 bits, so bands are joined, not all pairs.
-- A band takes digits from all over the image: a sky would make the upper ones equal. Blank images are left out.
WITH looks AS (
  SELECT i.dataset, i.image_id, i.file_name, i.split, i.pixel_hash, q.dhash
  FROM images AS i
  JOIN image_properties AS q ON q.dataset = i.dataset AND q.image_id = i.image_id
  WHERE q.contrast >= 2
),
firsts AS (
  SELECT dataset, split, dhash, min_by(struct(image_id, file_name, pixel_hash), image_id) AS image
  FROM looks
  GROUP BY dataset, split, dhash
),
bands AS (
  SELECT
    dhash,
    CAST(conv(left(dhash, 8), 16, 10) AS BIGINT) AS upper,
    CAST(conv(right(dhash, 8), 16, 10) AS BIGINT) AS lower,
    posexplode(transform(sequence(1, 4), b -> concat(
      substr(dhash, b, 1), substr(dhash, b + 4, 1), substr(dhash, b + 8, 1), substr(dhash, b + 12, 1)
    ))) AS (band, digits)
  FROM (SELECT DISTINCT dhash FROM looks)
),
close_hashes AS (
  SELECT DISTINCT
    a.dhash, b.dhash AS other_dhash, bit_count(a.upper ^ b.upper) + bit_count(a.lower ^ b.lower) AS distance
  FROM bands AS a
  JOIN bands AS b ON a.band = b.band AND a.digits = b.digits
  WHERE bit_count(a.upper ^ b.upper) + bit_count(a.lower ^ b.lower) <= 3
)
SELECT
  l.dataset, l.image_id, l.file_name, l.split,
  f.dataset AS other_dataset, f.image.image_id AS other_image_id, f.image.file_name AS other_file_name,
  f.split AS other_split, c.distance
FROM looks AS l
JOIN close_hashes AS c ON c.dhash = l.dhash
JOIN firsts AS f ON f.dhash = c.other_dhash
WHERE f.image.pixel_hash IS DISTINCT FROM l.pixel_hash
