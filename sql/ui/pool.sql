-- The candidates of one set, as shown.
select label, text, relevance, item_id, origin from candidates where batch_id = $candidates and set_id = $set_id order by len(label), label
