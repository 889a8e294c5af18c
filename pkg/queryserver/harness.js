// The part of CouchDB's query server that validation functions see: what they can
// call, how they are compiled, and what becomes of what they throw. It runs in the
// same realm as the design document's code, so it takes what it needs of the
// globals before that code can change them.
(function (global) {
  "use strict";
  const parse = JSON.parse, stringify = JSON.stringify, evaluate = global.eval;
  let ddoc, validate;

  global.log = function () {};
  global.toJSON = stringify;
  global.isArray = Array.isArray;
  global.sum = function (values) { return values.reduce((a, b) => a + b, 0); };
  for (const name of ["emit", "provides", "registerType", "start", "send", "getRow"]) {
    global[name] = function () {}; // they mean something in views and shows only
  }

  // resolve walks a CommonJS path through the design document.
  function resolve(names, at) {
    for (const name of names) {
      if (name === ".") {
        at = at.parent;
      } else if (name === "..") {
        at = at.parent && at.parent.parent;
      } else if (at.current === null || at.current[name] === undefined) {
        throw ["error", "invalid_require_path",
          'Object has no property "' + name + '". ' + stringify(at.current)];
      } else {
        at = { current: at.current[name], parent: at, id: at.id ? at.id + "/" + name : name };
      }
      if (!at) {
        throw ["error", "invalid_require_path", "Object has no parent"];
      }
    }
    if (typeof at.current !== "string") {
      throw ["error", "invalid_require_path",
        "Must require a JavaScript string, not: " + typeof at.current];
    }
    return at;
  }

  const modules = {};
  function requireFrom(base) {
    return function (path) {
      const names = path.split("/");
      const relative = base && (names[0] === "." || names[0] === "..");
      const found = resolve(names, relative ? base : { current: ddoc });
      if (!Object.hasOwn(modules, found.id)) {
        const module = { id: found.id, exports: {}, current: found.current, parent: found.parent };
        modules[found.id] = module.exports; // a circular require sees what there is so far
        try {
          const run = evaluate("(function (module, exports, require) { " + found.current + "\n })");
          run.call(global, module, module.exports, requireFrom(found));
        } catch (e) {
          throw ["error", "compilation_error", "Module require('" + path + "') raised error " + e];
        }
        modules[found.id] = module.exports;
      }
      return modules[found.id];
    };
  }

  // compile takes a function's source as CouchDB does: an expression, or a function
  // without a name where a statement would need one.
  function compile(source) {
    if (!source) {
      throw ["error", "not_found", "missing validate_doc_update function " +
        "validate_doc_update on design doc " + ddoc._id];
    }
    let fn;
    try {
      fn = evaluate(source);
    } catch (e) {
      try {
        fn = evaluate("(" + source.replace(/;\s*$/, "") + "\n)");
      } catch (e) {
        throw ["error", "compilation_error", e + " (" + source + ")"];
      }
    }
    if (typeof fn !== "function") {
      throw ["error", "compilation_error", "Expression does not eval to a function. (" + source + ")"];
    }
    return fn;
  }

  // failed is what the query server says of an exception of its own or of an Error.
  function failed(e) {
    if (e[0] === "error" || e[0] === "fatal") {
      return e;
    }
    if (e.name === "InternalError") {
      return ["error", e.name, e.message];
    }
    if (e.error && e.reason) {
      return ["error", e.error, e.reason];
    }
    return ["error", e.name || "unnamed_error", e];
  }

  global.load = function (text) {
    ddoc = parse(text);
    global.require = requireFrom(null);
  };

  global.validate = function (newDoc, oldDoc, userCtx, secObj) {
    let answer = 1;
    try {
      validate = validate || compile(ddoc.validate_doc_update);
      const args = [parse(newDoc), parse(oldDoc), parse(userCtx), parse(secObj)];
      try {
        validate.apply(ddoc, args);
      } catch (e) {
        if (e.name && e.stack) { // throws a TypeError itself if e is null
          throw e;
        }
        answer = e;
      }
    } catch (e) {
      answer = failed(e);
    }
    return stringify(answer);
  };
})(globalThis);
