SELECT
  dataset, split, reference, figure, images, round(psi, 4) AS psi, round(psi_of_chance, 4) AS psi_of_chance,
  psi > psi_of_chance AS beyond_chance
FROM split_drift
ORDER BY psi - psi_of_chance DESC
