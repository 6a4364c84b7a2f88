"""Exports of accounts: ChatGPT, Claude, Gemini, LibreChat, Open WebUI, SillyTavern.

Where an export keeps answers that were made again, and questions that were asked again, the
conversation is a tree. Its current path, where the export tells it, has the best rank at each
fork, so that the policy `best_rank` follows it; other branches have no rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from chatdata.sources import tool_json
from chatdata.sources._linear import RECORD_KEYS, Reading, Turn
from chatdata.sources.shapes._base import (
    Conversations,
    Record,
    Sessions,
    Tree,
    Trees,
    are_objects,
    has,
)
from chatdata.sources.shapes._planting import (
    Sprout,
    chained,
    microseconds,
    planted,
    turns_of_blocks,
)
from chatdata.sources.tool_json import is_given
from chatdata.sources.values import Text, identifier, shown, text

_NO_PARENT = re.compile(r"0{8}-0{4}-[04]0{3}-[08]0{3}-0{12}|client-created-root")


def _parent(value: object) -> str | None:
    """The id of a parent; None for what stands for no parent."""
    id = identifier(value)
    return None if id is None or _NO_PARENT.fullmatch(id) else id


def _turn(role: str, words: Text, **beside: Any) -> Turn:
    return Turn(role, words.text, words.fault, **beside)


def _refused(role: str | None, why: str) -> Turn:
    return Turn(role, None, why)


# ------------------------------------------------------------------------------------------ ChatGPT

_ROLES = {"user": "user", "assistant": "assistant", "tool": "tool", "system": "system"}
_RESULTS = {
    "execution_output": "text",
    "system_error": "text",
    "tether_quote": "text",
    "tether_browsing_display": "result",
}


def _is_chatgpt(record: object) -> bool:
    mapping = record.get("mapping") if isinstance(record, dict) else None
    if not isinstance(mapping, dict):
        return False
    nodes = [node for node in mapping.values() if node is not None]
    messages = [node.get("message") for node in nodes if isinstance(node, dict)]
    is_tree = len(messages) == len(nodes)
    return is_tree and any(has(message, "author", "content") for message in messages)


_CHATGPT_KEYS = RECORD_KEYS | {"mapping", "current_node"}
_CHATGPT_MESSAGE = frozenset(
    [
        *("id", "author", "content", "create_time", "recipient", "weight"),
        *("message", "parent", "children"),
    ]
)


def _read_chatgpt(record: Any) -> Tree:
    nodes = {id: node for id, node in record["mapping"].items() if isinstance(node, dict)}
    messages = [n["message"] for n in nodes.values() if isinstance(n.get("message"), dict)]
    sprouts = [_of_chatgpt(id, node) for id, node in nodes.items()]
    id = identifier(record.get("conversation_id")) or identifier(record.get("id"))
    current = identifier(record.get("current_node"))
    holders = [*nodes.values(), *messages]
    return Tree(id, planted(sprouts, current), _CHATGPT_KEYS, holders, _CHATGPT_MESSAGE)


def _of_chatgpt(id: str, node: Mapping[str, Any]) -> Sprout:
    message = node.get("message")
    parent = identifier(node.get("parent"))
    if not isinstance(message, dict):
        return Sprout(id, parent, None)
    turn = _chatgpt_turn(message)
    if turn is not None and message.get("weight") == 0:
        turn = turn._replace(train=False)
    return Sprout(id, parent, turn, microseconds(message.get("create_time")))


def _chatgpt_turn(message: Mapping[str, Any]) -> Turn | None:
    """The turn of a message; None where it says nothing to the model."""
    author, content = message.get("author"), message.get("content")
    if not isinstance(author, Mapping) or not isinstance(content, Mapping):
        return _refused(None, "a message without an author, or without content")
    kind, speaker = content.get("content_type"), author.get("role")
    role = _ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        return _refused(None, f"role {shown(speaker)}")
    if kind == "reasoning_recap":  # how long the thought took
        return None
    if kind in ("user_editable_context", "model_editable_context"):
        return _context(content)
    if kind == "thoughts":
        return _thoughts(content)
    words = _chatgpt_words(kind, content)
    if role == "system" and words.text == "":
        return None
    recipient = message.get("recipient")
    if role == "assistant" and isinstance(recipient, str) and recipient != "all":
        return _sent_to_tool(recipient, kind, words)
    name = author.get("name") if role == "tool" else None
    return _turn(role, words, name=name)


def _chatgpt_words(kind: object, content: Mapping[str, Any]) -> Text:
    if kind in ("text", "multimodal_text"):
        parts = content.get("parts")
        if not isinstance(parts, list):
            return Text(None, "no text" if parts is None else "parts that are no list")
        odd = next((part for part in parts if not isinstance(part, str)), None)
        if isinstance(odd, Mapping):
            return Text(None, f"a part of type {shown(odd.get('content_type'))} is no text")
        return text("\n".join(map(str, parts)))
    if kind == "code":
        return text(content.get("text"))
    if isinstance(kind, str) and kind in _RESULTS:
        return text(content.get(_RESULTS[kind]))
    return Text(None, f"content of type {shown(kind)} cannot be carried as text")


def _context(content: Mapping[str, Any]) -> Turn | None:
    """What a person has told about themselves and wants in all conversations, as a system turn."""
    keys = ("user_profile", "user_instructions", "model_set_context")
    told = [content[key] for key in keys if isinstance(content.get(key), str) and content[key]]
    return _turn("system", text("\n\n".join(told))) if told else None


def _thoughts(content: Mapping[str, Any]) -> Turn | None:
    thoughts = content.get("thoughts")
    told = [t.get("content") or t.get("summary") for t in thoughts] if are_objects(thoughts) else []
    words = "\n\n".join(told_ for told_ in told if isinstance(told_, str) and told_)
    return Turn("assistant", None, None, reasoning=words) if words else None


def _sent_to_tool(tool: str, kind: object, words: Text) -> Turn:
    """A call: arguments are the JSON object that was sent, else what was sent, as `code` or
    `text`."""
    if words.text is None:
        return _turn("assistant", words)
    sent = tool_json.parsed(words.text)
    given = sent if isinstance(sent, dict) else {"code" if kind == "code" else "text": words.text}
    calls = tool_json.calls({"tool_calls": [{"name": tool, "arguments": given}]})
    return Turn("assistant", None, calls.fault, tool_calls=calls.text)


# ------------------------------------------------------------------------------------------- Claude

_SENDERS = {"human": "user", "assistant": "assistant"}
_CLAUDE_KEYS = RECORD_KEYS | {"uuid", "chat_messages", "current_leaf_message_uuid"}
_CLAUDE_MESSAGE = frozenset(
    [
        *("uuid", "text", "content", "sender", "created_at", "parent_message_uuid"),
        *("attachments", "files", "files_v2"),
    ]
)


def _is_claude(record: object) -> bool:
    messages = record.get("chat_messages") if isinstance(record, dict) else None
    return are_objects(messages) and all("sender" in message for message in messages)


def _read_claude(record: Any) -> Tree:
    messages = record["chat_messages"]
    is_linear = not any(message.get("parent_message_uuid") for message in messages)
    sprouts: list[Sprout] = []
    before: str | None = None
    for number, message in enumerate(messages):
        id = identifier(message.get("uuid")) or str(number)
        parent = before if is_linear else _parent(message.get("parent_message_uuid"))
        created = microseconds(message.get("created_at"))
        sprouts += chained(id, parent, _claude_turns(message), created)
        before = id
    current = identifier(record.get("current_leaf_message_uuid"))
    nodes = planted(sprouts, current)
    return Tree(identifier(record.get("uuid")), nodes, _CLAUDE_KEYS, messages, _CLAUDE_MESSAGE)


def _claude_turns(message: Mapping[str, Any]) -> list[Turn]:
    sender = message.get("sender")
    role = _SENDERS.get(sender) if isinstance(sender, str) else None
    if role is None:
        return [_refused(None, f"role {shown(sender)}")]
    for key in ("attachments", "files", "files_v2"):
        if is_given(message.get(key)):
            return [_refused(role, f"'{key}' cannot be carried as text")]
    blocks = message.get("content")
    if not are_objects(blocks):
        return [_turn(role, text(message.get("text")))]
    told = [block for block in blocks if block.get("type") != "token_budget"]
    return turns_of_blocks(role, told) if told else [_turn(role, text(message.get("text")))]


# ------------------------------------------------------------------------------------------- Gemini

_PROMPTED = "Prompted "
_APPS = ("Gemini Apps", "Gemini", "Bard")
_GEMINI_KEYS = RECORD_KEYS | {"header", "title", "safeHtmlItem"}


def _is_gemini(record: object) -> bool:
    return has(record, "header", "title") and record["header"] in _APPS


def _read_gemini(record: Any) -> Reading:
    """The prompt and its answer, which is HTML."""
    title, items = record["title"], record.get("safeHtmlItem")
    if not isinstance(title, str) or not title.startswith(_PROMPTED) or not are_objects(items):
        return Reading(
            [], refusal="an activity without a prompt and its answer", reason="unknown_record"
        )
    if key := next(
        (k for k in ("attachedFiles", "imageFile", "audioFiles") if record.get(k)), None
    ):
        return Reading(
            [_refused("user", f"'{key}' cannot be carried as text")], _GEMINI_KEYS | {key}
        )
    answers = [text(item.get("html")) for item in items]
    fault = next((answer.fault for answer in answers if answer.fault), None)
    answer = Text(None, fault) if fault else Text("\n\n".join(a.text or "" for a in answers))
    question = text(title.removeprefix(_PROMPTED))
    return Reading([_turn("user", question), _turn("assistant", answer)], _GEMINI_KEYS, items)


# ---------------------------------------------------------------------------------------- LibreChat

_LIBRE_LISTS = ("messagesTree", "messages")
_LIBRE_KEYS = RECORD_KEYS | {"conversationId", *_LIBRE_LISTS}
_LIBRE_MESSAGE = frozenset(
    [
        *("messageId", "parentMessageId", "isCreatedByUser", "text", "content", "createdAt"),
        *("children", "files", "error"),
    ]
)


def _libre_list(record: object) -> list[dict[str, Any]] | None:
    lists = [record.get(key) for key in _LIBRE_LISTS] if isinstance(record, dict) else []
    return next((messages for messages in lists if are_objects(messages)), None)


def _is_librechat(record: object) -> bool:
    messages = _libre_list(record)
    return messages is not None and all(
        isinstance(message.get("messageId"), str) and "isCreatedByUser" in message
        for message in messages
    )


def _read_librechat(record: Any) -> Tree:
    messages = list(_flat(_libre_list(record) or [], None))
    sprouts: list[Sprout] = []
    for message, above in messages:
        parent = _parent(message.get("parentMessageId")) or above
        created = microseconds(message.get("createdAt"))
        sprouts += chained(message["messageId"], parent, list(_libre_turns(message)), created)
    id = identifier(record.get("conversationId"))
    only = [message for message, _ in messages]
    return Tree(id, planted(sprouts), _LIBRE_KEYS, only, _LIBRE_MESSAGE)


def _flat(
    messages: Iterable[Any], above: str | None
) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    """Yields the messages of nested lists, each with the id of the message that holds it."""
    waiting = [(message, above) for message in messages]
    while waiting:
        message, parent = waiting.pop(0)
        if isinstance(message, dict) and isinstance(message.get("messageId"), str):
            yield message, parent
            below = message.get("children")
            below = below if isinstance(below, list) else []
            waiting += [(child, message["messageId"]) for child in below]


def _libre_turns(message: Mapping[str, Any]) -> Iterator[Turn]:
    role = "user" if message.get("isCreatedByUser") is True else "assistant"
    if message.get("error") is True:
        yield _refused(role, "the message is an error of the server")
    elif is_given(message.get("files")):
        yield _refused(role, "'files' cannot be carried as text")
    elif are_objects(message.get("content")):
        yield from turns_of_blocks(role, list(_libre_blocks(message["content"])))
    else:
        yield _turn(role, text(message.get("text")))


def _libre_blocks(content: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yields parts of LibreChat as Anthropic's blocks."""
    for part in content:
        kind = part.get("type")
        if kind == "think":
            yield {"type": "thinking", "thinking": part.get("think")}
        elif kind == "tool_call" and isinstance(part.get("tool_call"), Mapping):
            call = part["tool_call"]
            yield {
                "type": "tool_use",
                "id": call.get("id"),
                "name": call.get("name"),
                "input": call.get("args"),
            }
            yield {
                "type": "tool_result",
                "tool_use_id": call.get("id"),
                "content": call.get("output"),
            }
        elif kind == "text" and isinstance(part.get("text"), Mapping):
            yield {"type": "text", "text": part["text"].get("value")}
        elif kind == "text" and isinstance(part.get("think"), str):
            yield {"type": "thinking", "thinking": part["think"]}
        else:
            yield part


# --------------------------------------------------------------------------------------- Open WebUI

_WEBUI_KEYS = RECORD_KEYS | {"chat"}
_WEBUI_MESSAGE = frozenset(
    ["id", "parentId", "childrenIds", "role", "content", "timestamp", "files"]
)
# Of a chat, whose `messages` are those of the current path again.
_WEBUI_CHAT = frozenset(["history", "messages", "currentId", "params", "system"])
_REASONING = re.compile(
    r'\s*<details type="reasoning"[^>]*>\s*<summary>[^<]*</summary>\n?(.*?)\n?</details>\s*', re.S
)
_DETAILS = '<details type="'


def _webui_messages(record: object) -> Mapping[str, Any] | None:
    chat = record.get("chat") if isinstance(record, dict) else None
    history = chat.get("history") if isinstance(chat, dict) else None
    messages = history.get("messages") if isinstance(history, dict) else None
    return messages if isinstance(messages, dict) and messages else None


def _is_webui(record: object) -> bool:
    messages = _webui_messages(record)
    return messages is not None and all(
        isinstance(message, dict) and isinstance(message.get("role"), str)
        for message in messages.values()
    )


def _read_webui(record: Any) -> Tree:
    messages, chat = _webui_messages(record) or {}, record["chat"]
    before = _webui_system(chat)
    top = before[0].id if before else None
    sprouts = [
        Sprout(
            id,
            identifier(message.get("parentId")) or top,
            _webui_turn(message),
            microseconds(message.get("timestamp")),
        )
        for id, message in messages.items()
    ]
    nodes = planted([*before, *sprouts], identifier(chat["history"].get("currentId")))
    id = identifier(record.get("id"))
    holders = [chat, chat["history"], *messages.values()]
    return Tree(id, nodes, _WEBUI_KEYS, holders, _WEBUI_MESSAGE | _WEBUI_CHAT)


def _webui_system(chat: Mapping[str, Any]) -> list[Sprout]:
    params = chat.get("params")
    words = params.get("system") if isinstance(params, Mapping) else None
    words = words or chat.get("system")
    return (
        [Sprout("system", None, _turn("system", text(words)))]
        if isinstance(words, str) and words
        else []
    )


def _webui_turn(message: Mapping[str, Any]) -> Turn:
    role = message["role"]
    if role not in ("user", "assistant", "system"):
        return _refused(None, f"role {shown(role)}")
    if is_given(message.get("files")):
        return _refused(role, "'files' cannot be carried as text")
    words = text(message.get("content"))
    if role != "assistant" or _DETAILS not in (words.text or ""):
        return _turn(role, words)
    thought = _REASONING.match(words.text or "")
    rest = (words.text or "")[thought.end() :] if thought else words.text or ""
    if thought is None or _DETAILS in rest:
        return _refused(role, "calls and code of the interface (<details>) cannot be carried")
    lines = [line.removeprefix(">").removeprefix(" ") for line in thought[1].split("\n")]
    return Turn(role, rest, None, reasoning="\n".join(lines).strip() or None)


# -------------------------------------------------------------------------------------- SillyTavern

_TAVERN_HEAD = ("user_name", "character_name")
_TAVERN_KEYS = frozenset([*_TAVERN_HEAD, "create_date"])
_TAVERN_MESSAGE = frozenset(
    [*("name", "is_user", "is_system", "mes", "swipes", "swipe_id", "send_date"), *_TAVERN_KEYS]
)


def _is_tavern(record: object) -> bool:
    if has(record, *_TAVERN_HEAD):
        return record.get("mes") is None
    return has(record, "is_user") and isinstance(record.get("mes"), str)


def _read_tavern(lines: Sequence[Any]) -> Tree:
    """The messages of a file; other answers that were made stand beside the one that was chosen."""
    messages = [line for line in lines if isinstance(line.get("mes"), str)]
    sprouts: list[Sprout] = []
    parent: str | None = None
    for number, message in enumerate(messages):
        id = str(number)
        sprouts.append(Sprout(id, parent, _tavern_turn(message, message["mes"])))
        swipes = message.get("swipes")
        texts = (
            [swipe for swipe in swipes if isinstance(swipe, str)]
            if isinstance(swipes, list)
            else []
        )
        rest = [swipe for swipe in dict.fromkeys(texts) if swipe != message["mes"]]
        sprouts += [
            Sprout(f"{id}.{n}", parent, _tavern_turn(message, swipe))
            for n, swipe in enumerate(rest)
        ]
        parent = id
    nodes = planted(sprouts, parent)
    return Tree(None, nodes, _TAVERN_KEYS, lines, _TAVERN_MESSAGE)


def _tavern_turn(message: Record, words: object) -> Turn | None:
    if message.get("is_system") is True:  # a note of the interface
        return None
    role = "user" if message["is_user"] is True else "assistant"
    extra = message.get("extra")
    thought = extra.get("reasoning") if isinstance(extra, Mapping) else None
    is_chosen = words == message["mes"] and isinstance(thought, str) and role == "assistant"
    return _turn(role, text(words), reasoning=(thought or None) if is_chosen else None)


SHAPES = (
    Trees(name="ChatGPT export", keys=("mapping",), fits=_is_chatgpt, read=_read_chatgpt),
    Trees(name="Claude export", keys=("chat_messages",), fits=_is_claude, read=_read_claude),
    Conversations(
        name="Gemini activity",
        keys=("header", "title"),
        fits=_is_gemini,
        read=_read_gemini,
        message_keys=frozenset(["html"]),
    ),
    Trees(name="LibreChat export", keys=("messages",), fits=_is_librechat, read=_read_librechat),
    Trees(name="Open WebUI export", keys=("chat",), fits=_is_webui, read=_read_webui),
    Sessions(name="SillyTavern chat", keys=("is_user", "mes"), fits=_is_tavern, read=_read_tavern),
)
