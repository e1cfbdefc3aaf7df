-- Whose a served request was.
alter table served_requests add column user_id varchar;
comment on column served_requests.user_id is 'The field `user` of the request, where the client sent one.';
