"""Names and columns of the data sets' own files, which their readers read and the mini world writes."""

CHARADES_HEADER = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"

MSVD_CAPTIONS = "AllVideoDescriptions.txt"
MSVD_MAPPING = "youtube_mapping.txt"
MSVD_FOLDER = "YouTubeClips"
MSVD_LAST = {"train": 1200, "val": 1300, "test": 1970}  # the number of each part's last clip
