// Example messages on the empty page, by workflow. Each works with the built-in demo model.

const EXAMPLES = {
  enrolment: [
    "I want to learn programming, for less than 250 dollars.",
    "Sign me up for PY-101, please.",
    "Enrol me in DB-101. If it is full, take whatever is closest.",
  ],
};

/** Return the examples of a model: a workflow, or `workflow/model`. */
export const examplesFor = (model) => EXAMPLES[model] ?? EXAMPLES[model.replace(/\/[^/]*$/, "")] ?? [];
