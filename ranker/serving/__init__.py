"""`ranker serve`: a policy behind the rerank API that clients already speak. docs/serving.md tells its users
what it does.

schema.py is the request and the answer; app.py the HTTP around them; batcher.py brings concurrent requests
into one call of the strategy; models.py loads the champion and follows its alias; ranking.py asks the policy;
episodes.py is that call, which the library (ranker/library/) makes too; shadow.py lets a second model rank
what was answered; metrics.py counts; request_log.py keeps what was served until `ranker collect` brings it
into the lake; settings.py has every default; server.py puts them together and stops them in order.
"""
