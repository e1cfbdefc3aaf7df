"""The training process: `accelerate launch -m ranker.train.worker job.json`. The only place besides
engines that imports torch and trl.
"""
