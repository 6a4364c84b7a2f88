"""The list of checks. To add a check is to add its function, and its entry here."""

from __future__ import annotations

from chatdata.verify.audit import call_checks, message_checks, repeats, thought_checks, token_checks
from chatdata.verify.audit.findings import Check, Comparison, Kind

_READ = "What is not read is trained by nobody, and most loaders drop it without a word."
_REPEATED = "A model learns by heart what it sees again and again, and its test score rises."
_ENCODED = "They are trained as a string, often with escaped quotes, which no server can parse."
_NO_STOP = "A model that never learns to stop talks on until its tokens run out."

_MESSAGES: tuple[Check | Comparison, ...] = (
    Check(
        "unreadable",
        "every record can be read",
        _READ,
        "Mend these records, or build with chatdata, whose ledger lists them.",
        "records",
        message_checks.unreadable,
    ),
    Check(
        "not_carried",
        "every message is text, of a known role",
        "Loaders flatten, skip or refuse such messages, each in its way.",
        "Name the role as chat templates do, and leave out what is no text.",
        "messages",
        message_checks.not_carried,
    ),
    Check(
        "empty_answer",
        "every answer says something",
        "The model learns to end its turn without an answer.",
        "Remove them: the filter `empty` of a recipe does.",
        "answers",
        message_checks.empty_answer,
    ),
    Check(
        "first_turn",
        "no conversation begins with an answer",
        "Many chat templates refuse such a conversation; the others train an answer to nothing.",
        "Begin with the first question: `threads: {start: user}` does.",
        "conversations",
        message_checks.first_is_answer,
    ),
    Check(
        "last_turn",
        "every conversation ends with an answer",
        "The last turn trains nothing, and code that looks for the next answer runs past the end.",
        "Cut behind the last answer: `threads: {end: assistant}` does.",
        "conversations",
        message_checks.last_is_no_answer,
    ),
    Check(
        "equal_roles",
        "user and assistant take turns",
        "Many chat templates refuse two turns of one role in a row; the others write a form that "
        "serving never sends.",
        "Merge or drop them: `threads: {repeated_role: merge}`.",
        "conversations",
        message_checks.equal_roles,
    ),
    Check(
        "late_system",
        "system turns stand first",
        "Chat templates refuse, move or drop a system turn behind the first turn.",
        "Put its words into the first system turn or into a user's.",
        "conversations",
        message_checks.late_system,
    ),
    Check(
        "nothing_trained",
        "every conversation has an answer to train",
        "The conversation costs time and teaches nothing.",
        "Remove it: the filter `no_assistant`; or look at the flags of its messages.",
        "conversations",
        message_checks.nothing_trained,
    ),
    Check(
        "forged_control",
        "no words hold a control token",
        "Where a chat template is written as text, these words become real control tokens: a "
        "message can end its turn and speak for somebody else.",
        "Tokenise content as text, as `chatdata build` does, or change these words.",
        "messages",
        message_checks.forged_control,
    ),
    Check(
        "empty_thought",
        "no thought is empty",
        "The model learns to open a thought and close it at once.",
        "Leave empty thoughts out, or mask them.",
        "answers",
        thought_checks.empty,
    ),
    Check(
        "unbalanced_thought",
        "every thought is opened and closed",
        "A template that looks for the tags cuts the answer at the wrong place.",
        "Put the thought into `reasoning_content`, and its tags nowhere.",
        "answers",
        thought_checks.unbalanced,
    ),
    Check(
        "doubly_opened_thought",
        "no thought is opened twice",
        "The template writes the thought, and the tags in the words open another.",
        "Keep the thought in one place: in `reasoning_content`.",
        "answers",
        thought_checks.doubly_opened,
    ),
    Check(
        "undeclared_tool",
        "every call is of a tool that the conversation lists",
        "The model learns to call tools that nobody offers, by names that it must guess.",
        "List the tools of the conversation in `tools`, or remove the call.",
        "calls",
        call_checks.undeclared,
    ),
    Check(
        "odd_arguments",
        "the arguments of every call are an object",
        _ENCODED,
        "Write arguments as an object, or as the JSON text of one.",
        "calls",
        call_checks.odd_arguments,
    ),
    Check(
        "orphan_result",
        "every result follows its call",
        "The model sees an answer to what it has not asked, and chat templates refuse or misplace "
        "it.",
        "Give the call and its result one id, and keep both or neither.",
        "results",
        call_checks.without_call,
    ),
    Check(
        "unordered_results",
        "results stand in the order of their calls",
        "Most chat templates write no ids, so the model reads each result as that of another call.",
        "Put the results of an answer in the order of its calls.",
        "results",
        call_checks.out_of_order,
        is_fault=False,
    ),
    Comparison(
        "repeats_across_splits",
        "no conversation of another split is trained",
        _REPEATED,
        "Split by a hash of the group, and remove repeats: the filter `duplicate`.",
        "conversations outside train",
        repeats.talks,
        repeats.across,
    ),
    Comparison(
        "repeats",
        "no conversation repeats another of its split",
        _REPEATED,
        "Remove repeats: the filter `duplicate` of a recipe.",
        "conversations",
        repeats.talks,
        repeats.within,
    ),
    Comparison(
        "questions_across_splits",
        "no first question of another split is trained",
        "The model has learnt answers to these questions, though maybe others.",
        "Keep conversations of one question in one split: `near_duplicate_prompt: {keep: all}`.",
        "conversations outside train",
        repeats.questions,
        repeats.across,
        is_fault=False,
    ),
    Check(
        "evaluation_overlap",
        "no message holds a test question",
        "Scores on these test sets say nothing after the training.",
        "Remove the messages: the filter `contaminated` with the same files.",
        "messages",
        message_checks.evaluation_overlap,
        needs=("evaluation",),
    ),
    Check(
        "secrets",
        "no message holds a key or a password",
        "A model may say what it has learnt, to anybody.",
        "Replace them: `redact` in a recipe; and revoke the keys.",
        "messages",
        message_checks.held_secrets,
    ),
    Check(
        "personal_data",
        "no message holds an e-mail address, a phone or a card number",
        "A model may say what it has learnt, to anybody.",
        "Replace them: `redact: {kinds: [email, phone, card]}` in a recipe.",
        "messages",
        message_checks.personal_data,
        is_fault=False,
    ),
    Check(
        "languages",
        "no message is in a language that can be told",
        "",
        "Keep those that you want: the filter `wrong_language`.",
        "messages",
        message_checks.languages,
        is_fault=False,
    ),
    Check(
        "cut",
        "no conversation is longer than a trainer's default",
        f"TRL cuts rows at {token_checks.DEFAULT_MAX:,} tokens unless max_length says otherwise, "
        "and with the end of a row its end token goes.",
        "Set the trainer's max_length, or `render: {max_tokens: ...}` in a recipe.",
        "conversations",
        message_checks.cut,
        needs=("tokenizer",),
        is_fault=False,
    ),
)

_RECORDS: tuple[Check | Comparison, ...] = (
    Check(
        "encoded_twice",
        "no arguments are encoded twice",
        _ENCODED,
        "Decode them once more: `chatdata build` does; others train them as they are.",
        "calls",
        call_checks.encoded_twice,
    ),
)

_TOKENS: tuple[Check | Comparison, ...] = (
    Check(
        "uneven",
        "every row is ids, with labels and masks of the same length",
        "Training stops at such a row, or takes labels from the wrong tokens.",
        "Make ids and labels together, from the same text.",
        "rows",
        token_checks.uneven,
    ),
    Check(
        "outside_vocabulary",
        "every id is one of the tokenizer's",
        "An embedding is asked for a row that it does not have; or it is another tokenizer's row.",
        "Name the tokenizer that made the rows, or make them again.",
        "rows",
        token_checks.outside_vocabulary,
        needs=("size",),
    ),
    Check(
        "differing_labels",
        "every label is its token or -100",
        "Models shift labels by themselves: labels that are shifted already, or of another text, "
        "train the wrong token everywhere.",
        "Take labels from input_ids, and put -100 where nothing is to be learnt.",
        "rows",
        token_checks.differing_labels,
    ),
    Check(
        "fully_masked",
        "every row trains something",
        "The row costs time and teaches nothing; a batch of such rows has a loss of NaN.",
        "Look for the marker by which answers are found; the template may write it otherwise.",
        "rows",
        token_checks.fully_masked,
    ),
    Check(
        "nothing_masked",
        "every row masks something",
        "The model learns to write the user's and the system's turns too.",
        "Mask the prompt: make labels with the row, for each answer.",
        "rows",
        token_checks.nothing_masked,
    ),
    Check(
        "trained_prompt",
        "no header of an answer is trained, and nothing before it",
        "The generation prompt supplies the header, and the user the question: learning them "
        "spends the loss on what the model never writes.",
        "Begin to train behind the generation prompt.",
        "rows",
        token_checks.trained_prompt,
        needs=("header", "ends"),
    ),
    Check(
        "untrained_end",
        "the end token of every trained answer is trained",
        _NO_STOP,
        "Train the end token. Where padding is the same token, mask by place or attention_mask, "
        "never by id.",
        "answers",
        token_checks.untrained_end,
        needs=("ends",),
    ),
    Check(
        "missing_end",
        "every trained answer ends with an end token",
        _NO_STOP,
        "Write the end token behind the answer; cut long rows at turns, not within them.",
        "answers",
        token_checks.missing_end,
        needs=("ends",),
    ),
    Check(
        "doubled_begin",
        "no begin token is doubled",
        "The model is trained on a beginning that serving never sends: the chat template writes "
        "the token, and the tokenizer adds it again.",
        "Tokenise the template's text with add_special_tokens=False.",
        "rows",
        token_checks.doubled_begin,
        needs=("begin",),
    ),
    Check(
        "trained_padding",
        "no padding is trained",
        "The model learns to write padding, and the loss is mostly about that.",
        "Put -100 into the labels where attention_mask is 0.",
        "rows",
        token_checks.trained_padding,
    ),
    Comparison(
        "repeats_across_splits",
        "no row of another split is trained",
        _REPEATED,
        "Split by a hash of the group, and remove repeats.",
        "rows outside train",
        repeats.rows,
        repeats.across,
    ),
    Comparison(
        "repeats",
        "no row repeats another of its split",
        _REPEATED,
        "Remove repeats before the rows are made.",
        "rows",
        repeats.rows,
        repeats.within,
    ),
    Check(
        "cut",
        "no row is longer than a trainer's default",
        f"TRL cuts rows at {token_checks.DEFAULT_MAX:,} tokens unless max_length says otherwise, "
        "and with the end of a row its end token goes.",
        "Set the trainer's max_length to that of the longest row.",
        "rows",
        token_checks.cut,
        is_fault=False,
    ),
    Check(
        "collator",
        "all is trained, so that no collator trains more",
        "DataCollatorForLanguageModeling(tokenizer, mlm=False) writes its own labels, and trains "
        "these tokens too; without a collator transformers makes no batch of two rows.",
        "Use DataCollatorForSeq2Seq(tokenizer), which keeps the labels; in TRL, "
        "SFTConfig(max_length=None).",
        "tokens",
        token_checks.overwritten,
        is_fault=False,
    ),
)

CHECKS: dict[Kind, tuple[Check | Comparison, ...]] = {
    "messages": _MESSAGES,
    "records": _RECORDS,
    "tokens": _TOKENS,
}
