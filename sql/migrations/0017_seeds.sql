-- From where a gain counts, and what was measured of the spread over seeds that it rests on.
alter table promotion_tests add column least double;
alter table promotion_tests add column seeds integer;
alter table promotion_tests add column seed_spread double;
comment on column promotion_tests.least is 'Gain from which it counts: register.min_gain, or what another seed of the champion''s recipe may bring, where that is more. Null where there was no test.';
comment on column promotion_tests.seeds is 'Trainings of the champion''s recipe that differ by their seeds alone and ranked the same queries. Fewer than three measure nothing. Null where there was no test.';
comment on column promotion_tests.seed_spread is 'Standard deviation of their mean RR. Null where there are not two.';
