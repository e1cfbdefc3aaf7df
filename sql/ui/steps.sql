-- The model calls of one episode, in order.
select * from steps where batch_id = $batch_id and episode_id = $episode_id order by step
