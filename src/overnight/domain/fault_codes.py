"""The codes of faults: when each is given, and what to do about it.

They are OpenAI's where it has one for the case. Programs compare them, so none ever changes
its meaning. The reference page of faults is written from here.
"""

from enum import StrEnum


class FaultCode(StrEnum):
    """A code, with `when` and `remedy` for people."""

    when: str
    remedy: str

    def __new__(cls, code: str, when: str, remedy: str) -> "FaultCode":
        member = str.__new__(cls, code)
        member._value_ = code
        member.when = when
        member.remedy = remedy
        return member

    EMPTY_FILE = (
        "empty_file",
        "The file holds no requests.",
        "Write one JSON object per line.",
    )
    NOT_JSONL = (
        "not_jsonl",
        (
            "The file as a whole is something else: compressed, a table, UTF-16, one JSON array, "
            "JSON over several lines, Python literals, a web page."
        ),
        "Convert it to one JSON object per line in UTF-8; the message says how.",
    )
    NOT_REQUESTS = (
        "not_requests",
        (
            "The lines are JSON, but of another kind: fine-tuning examples, results of a batch, "
            "bare request bodies, another vendor's batch format."
        ),
        'Wrap each request: `{"custom_id": …, "method": "POST", "url": …, "body": {…}}`.',
    )
    INVALID_JSON_LINE = (
        "invalid_json_line",
        "A line is not JSON, or not an object.",
        "Write the line with a JSON library; the mark shows where reading ended.",
    )
    INVALID_UTF8 = (
        "invalid_utf8",
        "A line holds bytes that are not UTF-8.",
        "Save the file as UTF-8.",
    )
    LINE_TOO_LONG = (
        "line_too_long",
        "A line is longer than the setting `limits.line_bytes_max`.",
        "Shorten or split the request, or raise the setting.",
    )
    MISSING_REQUIRED_PARAMETER = (
        "missing_required_parameter",
        (
            "`custom_id` or `body` is missing or null; in a job of the OpenAI API also `method` or "
            "`url`."
        ),
        "Add the field.",
    )
    INVALID_CUSTOM_ID = (
        "invalid_custom_id",
        (
            "`custom_id` is not a string, is empty, or is longer than "
            "`limits.custom_id_bytes_max` bytes."
        ),
        "Give each line a short string of its own.",
    )
    DUPLICATE_CUSTOM_ID = (
        "duplicate_custom_id",
        "`custom_id` was used on an earlier line; ids are compared by value, not by spelling.",
        "Give each line an id of its own: results are matched by it.",
    )
    INVALID_METHOD = (
        "invalid_method",
        '`method` is not `"POST"`.',
        'Write `"POST"`, or in the Together API leave it out.',
    )
    FILE_UNSUPPORTED = (
        "file_unsupported",
        '`method` is `"FILE"`: a request that sends a file, as for audio.',
        "Leave such requests out; only JSON bodies are sent so far.",
    )
    INVALID_URL = (
        "invalid_url",
        "`url` is not the endpoint of the batch, or not that of the lines before.",
        "One file is for one endpoint: split the file, or correct the path.",
    )
    INVALID_REQUEST = (
        "invalid_request",
        (
            "`body` is not an object, names no model, or lacks what its endpoint works on "
            "(`messages`, `prompt` or `input`); or the input file is gone (`file_id`)."
        ),
        "Write the body as the endpoint takes it.",
    )
    STREAMING_UNSUPPORTED = (
        "streaming_unsupported",
        "`body.stream` is true.",
        "Leave it out: the results of a batch are files.",
    )
    MODEL_NOT_FOUND = (
        "model_not_found",
        "No upstream serves `body.model`. Told only when all have said what they serve.",
        "Use one of the models the message names, or start an upstream that has it.",
    )
    MISMATCHED_MODEL = (
        "mismatched_model",
        "`body.model` is another than the `model_id` the job was created with (Together API).",
        "Name the same model on all lines, or create the job without `model_id`.",
    )
    TOO_MANY_MODELS = (
        "too_many_models",
        "The file asks for more than 1,000 models.",
        "Split it by model.",
    )
    TOO_MANY_TASKS = (
        "too_many_tasks",
        "The file has more requests than the setting `limits.requests_max`, if it is set.",
        "Split the file, or raise the setting.",
    )
    TOO_MANY_LINES = (
        "too_many_lines",
        "The file has more than 4,294,967,295 lines.",
        "Split it.",
    )
