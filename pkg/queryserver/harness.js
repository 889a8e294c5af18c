// The part of CouchDB's query server that the functions of a design document see: what they
// can call, how they are compiled, and what becomes of what they throw. As there, each function
// and each module has a realm of its own, and documents come from this one: a function's Array
// is not the one that doc.list is an instance of.
//
// Code of the design document can reach this realm, so what is used of its globals is taken
// before such code runs.
(function (global) {
  "use strict";
  const parse = JSON.parse, stringify = JSON.stringify, apply = Reflect.apply, newRealm = global.newRealm;
  const sourceOf = Function.prototype.toString;
  delete global.newRealm;
  const nothing = function () {};
  let ddoc, path, request, emitted, lines, room, taker = {};

  function errorText(e) {
    return e.toSource ? e.toSource() : e.toString();
  }

  function emit() { emitted = true; }

  function sum(values) {
    let total = 0;
    for (const i in values) {
      total += values[i];
    }
    return total;
  }

  function log(message) {
    if (typeof message !== "string") {
      const isError = typeof message === "object" && message !== null &&
        "stack" in message && "name" in message && "message" in message;
      message = stringify(isError ? { error: message.name, message: message.message } : message);
    }
    message = String(message);
    if (room > 0) { // the first are worth more than the last
      lines[lines.length] = message.length > room ? message.slice(0, room) : message;
      room -= message.length + 1;
    }
  }

  function sandboxWith(emit) {
    return {
      emit, sum, log, toJSON: stringify, JSON, provides: nothing, registerType: nothing, start: nothing,
      send: nothing, getRow: nothing, isArray: (v) => Object.prototype.toString.call(v) === "[object Array]",
    };
  }

  // evaluate runs source in a realm that has the members of sandbox.
  function evaluate(source, sandbox) {
    const realm = newRealm(), run = realm.eval;
    for (const name in sandbox) {
      realm[name] = sandbox[name];
    }
    return run(String(source));
  }

  function wrongPath(reason) { return ["error", "invalid_require_path", reason]; }

  // resolve walks a path through the design document, from a module or from the root.
  function resolve(names, at) {
    let root = ddoc;
    for (const name of names) {
      if (name === "..") {
        if (!(at.parent && at.parent.parent)) {
          throw wrongPath("Object has no parent " + stringify(at.current));
        }
        at = {
          current: at.parent.current, parent: at.parent.parent, id: at.id.slice(0, at.id.lastIndexOf("/")),
        };
      } else if (name === ".") {
        if (!at.parent) {
          throw wrongPath("Object has no parent " + stringify(at.current));
        }
        at = { current: at.current, parent: at.parent, id: at.id };
      } else {
        at = root ? { current: root } : at;
        if (at.current[name] === undefined) {
          throw wrongPath('Object has no property "' + name + '". ' + stringify(at.current));
        }
        at = { current: at.current[name], parent: at, id: at.id ? at.id + "/" + name : name };
      }
      root = undefined;
    }
    if (typeof at.current !== "string") {
      throw wrongPath("Must require a JavaScript string, not: " + typeof at.current);
    }
    return at;
  }

  // requirer makes a function's require. What it has loaded is kept in the design
  // document, for all its functions; what a circle of modules sees of the first is empty for ever.
  function requirer(sandbox) {
    const cache = ddoc._module_cache;
    function from(path, base) {
      const found = resolve(path.split("/"), base);
      if (!Object.hasOwn(cache, found.id)) {
        cache[found.id] = {};
        const module = { current: found.current, parent: found.parent, id: found.id, exports: {} };
        try {
          const run = evaluate("(function (module, exports, require) { " + found.current + "\n });", sandbox);
          apply(run, sandbox, [module, module.exports, (path) => from(path, module.parent)]);
        } catch (e) {
          throw ["error", "compilation_error", "Module require('" + path + "') raised error " + errorText(e)];
        }
        cache[found.id] = module.exports;
      }
      return cache[found.id];
    }
    return (path) => from(path, undefined);
  }

  // expression evaluates the source of a function. CouchDB's engine takes a function without
  // a name where a statement stands; this one does not, so what is no program is tried again with
  // such a function behind a comma.
  function expression(source, sandbox) {
    try {
      return evaluate(source, sandbox);
    } catch (e) {
      if (typeof source !== "string" || e.name !== "SyntaxError") {
        throw e;
      }
      let why = e;
      for (const found of [...source.matchAll(/\bfunction\s*\(/g)].slice(-32).reverse()) {
        try {
          return evaluate(source.slice(0, found.index) + "0," + source.slice(found.index), sandbox);
        } catch (e) {
          why = found.index === 0 ? e : why;
        }
      }
      throw why;
    }
  }

  function compile(source, sandbox) {
    sandbox.require = requirer(sandbox);
    let fn;
    try {
      fn = expression(source, sandbox);
    } catch (e) {
      throw ["error", "compilation_error", errorText(e) + " (" + source + ")"];
    }
    if (typeof fn !== "function") {
      throw ["error", "compilation_error", "Expression does not eval to a function. (" + source + ")"];
    }
    return fn;
  }

  // lookup returns a function of the design document, which keeps it when it is compiled.
  function lookup(path) {
    let point = ddoc;
    for (let i = 0; i < path.length - 1; i++) {
      point = point[path[i]];
    }
    const name = path[path.length - 1];
    let fn = point[name];
    if (!fn) {
      throw ["error", "not_found", "missing " + path[0] + " function " + name + " on design doc " + ddoc._id];
    }
    if (typeof fn !== "function") {
      fn = compile(fn, sandboxWith(path[0] === "views" ? emit : nothing));
      point[name] = fn;
    }
    return fn;
  }

  // failed is what the query server says of an exception: an error, its reason, and
  // for people who read it what CouchDB leaves out, the message of an Error.
  function failed(e) {
    let said;
    if (e === null) {
      said = ["error", "internal_error", null];
    } else if (e[0] === "error" || e[0] === "fatal") {
      said = e;
    } else if (e.name === "InternalError") {
      said = ["error", e.name, e.message];
    } else if (e.error && e.reason) {
      said = ["error", e.error, e.reason];
    } else if (e.name) {
      said = ["error", e.name, e];
    } else {
      said = ["error", "unnamed_error", e.stack];
    }
    return said;
  }

  function message(e) {
    try {
      if (e === null) {
        return "null was thrown, as the engine does for want of memory";
      }
      if (typeof e === "object" && typeof e.stack === "string") {
        return String(e.name) + ": " + String(e.message);
      }
      return typeof e === "string" ? e : stringify(e);
    } catch (e) {
      return undefined;
    }
  }

  global.load = function (text) {
    ddoc = text;
    ddoc._module_cache = {};
    return "";
  };

  // select says which function run is about, and the text of the request that it gets.
  global.select = function (where, text) {
    path = where;
    request = text;
    return "";
  };

  // takesRequest is false for functions that cannot look at the request. To make it an object
  // costs as much as a small document.
  function takesRequest(fn) {
    if (fn !== taker.fn) {
      const takes = /^[^)]*,|\barguments\b|\beval\b|\.\.\./.test(apply(sourceOf, fn, []));
      taker = { fn, takes };
    }
    return taker.takes;
  }

  // run calls a filter or a map function; the answer says "1", "0" or what went wrong.
  global.run = function (doc) {
    lines = [];
    room = 4096;
    let answer, why = null;
    try {
      const fn = lookup(path);
      if (path[0] === "views") {
        emitted = false;
        fn(doc);
        answer = emitted;
      } else {
        answer = apply(fn, ddoc, [doc, takesRequest(fn) ? parse(request) : undefined]) ? true : false;
      }
    } catch (e) {
      answer = failed(e);
      why = message(e);
    }
    if (typeof answer === "boolean" && lines.length === 0) {
      return answer ? "1" : "0";
    }
    return stringify({ answer, message: why, log: lines });
  };

  // validate calls the validation function; the answer is what CouchDB's query server answers.
  global.validate = function (newDoc, oldDoc, userCtx, secObj) {
    lines = [];
    room = 0;
    let answer = 1;
    try {
      const fn = lookup(["validate_doc_update"]);
      try {
        apply(fn, ddoc, [newDoc, oldDoc, userCtx, secObj]);
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
