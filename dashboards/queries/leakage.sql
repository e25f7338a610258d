SELECT dataset, split, other_dataset, other_split, kind, count(DISTINCT image_id) AS images, min(file_name) AS example
FROM split_leakage
GROUP BY dataset, split, other_dataset, other_split, kind
ORDER BY images DESC, dataset, split, other_split
