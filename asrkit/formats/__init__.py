"""Output formats of the core: functions that write transcripts to a text file as they come."""
