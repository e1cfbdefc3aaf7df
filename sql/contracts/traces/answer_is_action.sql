-- Traces whose completion answers (<answer> … </answer>) otherwise than their action says: the policy would learn the text, the filter judged the action.
-- remedy: write the action that was parsed from the completion
with answered as (
    select *, string_split_regex(trim(regexp_extract(completion, '<answer>(.*)</answer>', 1, 's'), E' \n\t'), '\s+') as answer from {batch} b
)
select trace_id, task, mode, action, answer, accepted
from answered
where (accepted or len(action) > 0) and answer is distinct from action
