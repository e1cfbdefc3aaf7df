-- The teacher's score of every candidate, of one distill batch.
select set_id, label, score from teacher_scores where batch_id = $batch_id
