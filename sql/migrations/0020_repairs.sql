-- What a tolerant reading (evaluate.parsing) mended in an answer.
alter table steps add column repairs varchar[];
comment on column steps.repairs is 'Of an answer that was read tolerantly (a model not trained here) what was mended, each kind once: no_tags, extra_words, repeated, missing; empty where nothing was. Null for one read strictly, and for scored labels.';
