// Package telemetry makes the pipeline's work visible: one trace per batch from
// `_changes` to `_bulk_docs`, and structured logs that name the trace and the
// job they speak of.
//
// A service calls [Start] once and hands the resulting [Telemetry] on:
//
//   - [Trace] is the Watermill middleware that continues, in each stage, the
//     trace that the message's metadata carries (W3C Trace Context); [Inject]
//     puts it there.
//   - [Telemetry.Transport] gives every HTTP request a span.
//   - [WithScope] says which job, run, feed, epoch and batch the work in a
//     context is about: every span that begins below it and every log line
//     written with it then says so too.
//   - [NewLogger] makes the logger.
//
// What is exported, where to and how much of it is sampled is set by
// OpenTelemetry's standard environment variables (see [Start]). Without them no
// span is made, and the instrumentation costs next to nothing.
//
// Invariant 9 is upheld at the two exits, whatever the code in between does:
// the exporter and the logger remove the userinfo of every URL that passes.
package telemetry
