-- What one evaluation's episodes can be chosen by.
select distinct task, arm, strategy, thinking from episodes where batch_id = $batch_id order by task, arm, strategy, thinking
