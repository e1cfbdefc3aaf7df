-- By what a stage run is identified: modules, SQL files and libraries, as JSON; null in rows from before that column.
select identity from stage_runs where batch_id = $batch_id
