-- One episode.
select * from episodes where batch_id = $batch_id and episode_id = $episode_id
