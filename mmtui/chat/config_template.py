"""The content of a new settings file; the comments document each key."""

TEMPLATE = """\
# Settings of mmtui. Lines that begin with # show the defaults.
# Environment variables override all but [keys]: MMTUI_MODEL, MMTUI_THEME, ...
# The chat uses all settings; the other commands use those that concern them.

# Model: a preset (phi2, smol), a checkpoint folder, a GGUF file, ollama:NAME,
# hf:OWNER/NAME, or auto. With an endpoint: the name of one of its models, or auto, if it has only
# one.
#model = "auto"

# Address of a server with an OpenAI-compatible API, which runs the model instead of this machine:
# "http://127.0.0.1:11434/v1". "" runs models on this machine.
#endpoint = ""

# Environment variable that contains the key of the endpoint, if it requires one.
#api_key_env = "MMTUI_API_KEY"

# Longest time that the endpoint may send nothing, in seconds; loading a large model can take long.
#endpoint_timeout = 300.0

# What reads recordings: "whisper", which transcribes them on this machine, or "model", the model of
# the endpoint, or a GGUF with an audio tower, which gets the recordings themselves.
#listen = "whisper"

# Whisper model that transcribes recordings: "base", which knows 99 languages, "tiny.en", which is
# smaller, faster and knows English only, or "auto", that of the model, which is base for smol.
#speech = "auto"

# Language of recordings: a code or a name, such as "de" or "german", or "auto", which detects it.
#language = "auto"

# Whether the text in pictures is recognized on this machine and given to the model beside them:
# true, false, or "auto", which is true for models that were trained with it. A model without
# vision gets nothing but the text.
#read = "auto"

# Library that runs the model: "torch", "llamacpp", or "auto", which is llamacpp on a CPU.
#engine = "auto"

# Colours of the screen: "dark", "light", "contrast" (high contrast), or "terminal" (those of the
# terminal).
#theme = "dark"

# Whether the list of conversations is shown at the left, in windows of at least 80 columns: true or
# false. Ctrl+B and /sidebar change it.
#sidebar = false

# Whether each message shows who wrote it and when, and the speed of answers: true or false.
# /details changes it.
#details = false

# Randomness of replies: 0 always chooses the most probable token; 0.7 gives varied replies.
#temperature = 0.0

# With a temperature above 0: sample from the most probable tokens that together have this
# probability.
#top_p = 0.95

# Maximum length of a reply, in tokens.
#max_tokens = 512

# System prompt of new conversations: instructions for the model.
#system = ""

# Disk space in MB for what the model has read of conversations, so that long ones are resumed at
# once; 0 stores nothing.
#prompt_storage = 1000

# Memory in MB for what the model of `mmtui serve` has read of conversations that alternate; 0 keeps
# only that of one conversation. At most a quarter of the free memory is used.
#server_cache = 1000

# How many requests `mmtui serve` answers together, with llama.cpp; 1 answers them one after the
# other. Together, each of them is answered more slowly, and none waits for the others.
#parallel = 1

# Name of the microphone, as `mmtui doctor` shows it; "" uses the system's default.
#microphone = ""

# Whether answers are read aloud: "never", or "always". F12 and /speak read single answers.
#speak = "never"

# Voice of English answers: "heart", "fenrir", "emma", "fable" or "kore"; the last four are
# downloaded by `hibari --voice NAME`. Other languages are read by espeak-ng, if it is installed;
# "espeak:en-gb" reads everything with that voice of espeak-ng.
#voice = "heart"

# Speed of the voice, from 0.5 to 2.
#speaking_rate = 1.0

# Volume of what is played, from 0 to 2; 1 leaves it as it is.
#volume = 1.0

# Name of the speaker or headphones, as `mmtui doctor` shows it; "" uses the system's default.
#speaker = ""

# Whether speaking over an answer stops it in a talk (/talk). It needs headphones, because the
# microphone would hear the speaker; without it, the microphone is off while an answer is read.
#barge_in = false

# Keys of actions, such as "F4", "Alt+R" or "Shift+Enter"; separate several keys with commas.
# The help screen (F1) lists the actions.
#[keys]
#record = "F4, Alt+R"
"""
