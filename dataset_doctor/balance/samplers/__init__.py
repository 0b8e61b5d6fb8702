"""The samplers: functions from a demand to how often each image is shown."""
