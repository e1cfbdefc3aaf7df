-- How often the sealed queries were read for a registered model since a time.
select count(distinct batch_id) as readings from sealed_readings where name = $name and read_at > $since
