//! The page: what a person sees.

use maud::{DOCTYPE, Markup, html};

use crate::store::Note;

/// The notes, and a form for another.
pub(crate) fn of(title: &str, notes: &[Note]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { "body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }
                    textarea { width: 100%; box-sizing: border-box } time { opacity: .6 } li { white-space: pre-wrap }" }
            }
            body {
                h1 { (title) }
                form method="post" action="/" {
                    textarea name="text" rows="3" required aria-label="A note" {}
                    button { "Write" }
                }
                @if notes.is_empty() {
                    p { "Nothing is written yet." }
                }
                ul {
                    @for note in notes {
                        li { (note.text) " " time { (note.written) } }
                    }
                }
            }
        }
    }
}
