-- Tests of a version that this batch does not register.
-- remedy: write tests and version together
select t.name, t.version, t.task
from {batch} t
anti join staged_model_versions v on v.name = t.name and v.version = t.version
