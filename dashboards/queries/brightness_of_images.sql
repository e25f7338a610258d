SELECT dataset, split, CAST(8 * floor(brightness / 8) AS INT) AS brightness, count(*) AS images
FROM image_quality
GROUP BY dataset, split, CAST(8 * floor(brightness / 8) AS INT)
ORDER BY brightness
