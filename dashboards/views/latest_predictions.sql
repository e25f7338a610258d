-- Of each image and model name, what was predicted last.
SELECT *
FROM predictions
QUALIFY row_number() OVER (
  PARTITION BY dataset, image_id, model_name ORDER BY predicted_at DESC, model_version DESC
) = 1
