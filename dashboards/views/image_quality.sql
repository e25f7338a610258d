-- One row an image with what its pixels say (no bytes).
SELECT
  i.dataset, i.image_id, i.file_name, i.split, i.width, i.height, i.format, i.mode, i.size_bytes, i.metadata,
  q.brightness, q.contrast, q.sharpness, q.entropy, q.colorfulness, q.aspect_ratio, q.dhash
FROM images AS i
JOIN image_properties AS q ON q.dataset = i.dataset AND q.image_id = i.image_id
