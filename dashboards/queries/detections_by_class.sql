SELECT dataset, model_name, model_version, category_name, count(*) AS boxes, round(avg(score), 4) AS mean_score
FROM detections
WHERE score >= 0.5
GROUP BY dataset, model_name, model_version, category_name
ORDER BY boxes DESC
