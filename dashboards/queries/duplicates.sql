SELECT dataset, 'same pixels' AS kind, count(*) AS images, count(DISTINCT pixel_hash) AS groups
FROM exact_duplicates
GROUP BY dataset
UNION ALL
SELECT dataset, 'look alike', count(DISTINCT image_id), NULL
FROM near_duplicates
GROUP BY dataset
ORDER BY dataset, images DESC
