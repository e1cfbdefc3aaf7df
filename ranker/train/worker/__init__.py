"""The training process: `python -m ranker.train.worker job.json`, several by `accelerate launch`. The only
place besides engines that imports torch and trl.
"""
