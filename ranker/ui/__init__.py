"""A local web page over the lake: runs, episodes, contracts, questions, trainings. It only reads."""
