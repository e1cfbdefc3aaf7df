-- What a trace cost: the teachers that cost something are models, and their tokens have prices.
alter table traces add column cost double;
comment on column traces.cost is 'Price of the answer: its tokens times distill.price_in and price_out per million, in their currency; 0 for a classical teacher. Null in rows from before this column.';
comment on column traces.reason is 'Why it was rejected; empty where accepted. The parser''s reasons, excludes_best, ranks_best_low, minority (another answer to the same prompt has more votes), duplicate, surplus (more right answers than distill.keep).';
