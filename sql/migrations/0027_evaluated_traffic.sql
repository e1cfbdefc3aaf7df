-- Evaluations write estimates too (evaluate.traffic_requests).
comment on table traffic_estimates is 'The clicks that a policy would have got on logged requests, by `ranker audit traffic` or beside an evaluation (evaluate.traffic_requests): a row an estimator.';
