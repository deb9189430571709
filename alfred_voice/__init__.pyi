from alfred_voice.recordings import AudioError as AudioError
from alfred_voice.recordings import BrokenOff as BrokenOff
from alfred_voice.recordings import Recordings as Recordings
from alfred_voice.recordings import Transcription as Transcription
from alfred_voice.recordings import transcribe as transcribe
from alfred_voice.recordings import transcribe_stream as transcribe_stream

__all__: list[str]
__version__: str
