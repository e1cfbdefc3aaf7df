-- Scores of the first stages that an evaluation made for itself (`ranker.stages.first_stages`), of one evaluate batch.
select set_id, label, teacher, score from teacher_scores where batch_id = $batch_id
