//! The page with answers that are made of a hostile document.

use crate::{browser::run_suite, clients::app};
use serde_json::json;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn markup_in_a_document_stays_text_on_the_page() {
    let app = app().await;
    let operator = app.operator().await;
    let text = "# Frobnitz <img src=x onerror=alert('title')>\n\n\
                The torque of a Frobnitz clamp is 17 Nm <script>alert('answer')</script> \
                <img src=x onerror=\"alert('image')\"> <svg onload=alert(1)> [here](javascript:alert(2)) \
                <iframe src=\"https://evil.example\"></iframe>.";
    let document = json!({"source": "<img src=x onerror=alert('source')>.md", "text": text});
    let (status, answer) = app.post("/api/v1/documents", Some(&operator), &document).await;
    assert_eq!(status, 201, "{answer}");
    run_suite(&app, "hostile").await;
}
