-- Scores that are not finite.
-- remedy: look for a division by zero in the teacher
select set_id, label, score from {batch} where not isfinite(score)
