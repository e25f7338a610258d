SELECT
  CAST(predicted_at AS DATE) AS day, dataset, model_name, model_version,
  count(*) AS images,
  sum(num_detections) AS detections,
  round(avg(max_score), 4) AS mean_best_score,
  count_if(num_detections = 0) AS images_without_detections,
  count_if(status = 'error') AS failed_images
FROM image_predictions
GROUP BY day, dataset, model_name, model_version
ORDER BY day, dataset, model_name, model_version
