-- Images in which a model version found nothing at all.
SELECT p.dataset, p.image_id, p.model_name, p.model_version, i.file_name, i.split, i.source_uri, p.predicted_at
FROM predictions AS p
JOIN images AS i ON i.dataset = p.dataset AND i.image_id = p.image_id
WHERE p.status = 'ok' AND size(p.detections) = 0
