-- Valid steps whose completion answers (<answer> … </answer>) otherwise than their action says, or whose action is not what was acted on.
-- remedy: act on the action that was parsed from the completion
with answered as (
    select episode_id, step, action, taken, string_split_regex(trim(regexp_extract(completion, '<answer>(.*)</answer>', 1, 's'), E' \n\t'), '\s+') as answer
    from {batch} b
    where valid
)
select episode_id, step, action, taken, answer from answered where answer is distinct from action or taken is distinct from action
