"""Stage two: light heads trained on cached features, evaluated on splits that share no content. It
opens no video.
"""
