"""Recorded topics, read as far as they go.

    folder or file --> recording.py --+--> mcap.py   --+--> topics, messages in the order of time
                                      +--> sqlite.py --+

rosbags, which writes bags here, reads only those that were finished well. A robot that is switched off finishes none.
"""
