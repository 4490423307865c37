-- Parses XML strictly by XML 1.0 (fifth edition) and its namespaces, to check whether a configuration file, or a part of
-- one, is complete.
--
--   local xml = dofile("xml.lua")
--   local root = xml.parse(text, { vpnGroup = true })
--
-- It accepts the same documents as libxml2, which the companion uses, except for document types.  Bytes from 128 on are
-- kept, but not accepted in names: no relevant name has any.

local M = {}

-- libxml2's limit.
local DEEPEST = 256

local NAME = "[%a_:][%w_.:-]*"
local START_TAG, END_TAG = "^<(" .. NAME .. ")()", "^</(" .. NAME .. ")%s*>()"
local ATTRIBUTE = "^(" .. NAME .. ")%s*=%s*([\"'])()"
local INSTRUCTION = "^<%?(" .. NAME .. ")(.)"
local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }

-- Return the character of a code point as UTF-8, or nil if XML forbids it.
local function character(code)
    if code < 0x20 and code ~= 9 and code ~= 10 and code ~= 13 or code >= 0xd800 and code < 0xe000
        or code == 0xfffe or code == 0xffff or code > 0x10ffff then
        return nil
    elseif code < 0x80 then
        return string.char(code)
    end
    local out, first = "", 0x40
    repeat
        out = string.char(0x80 + code % 64) .. out
        code, first = math.floor(code / 64), first / 2
    until code < first
    return string.char(math.floor(256 - 2 * first + code)) .. out
end
M.character = character

-- Return a text with its references replaced, or nil if one is invalid.
local function unescape(text)
    if not text:find("&", 1, true) then
        return text
    end
    local sound = true
    local out = text:gsub("&([^&;]*)(;?)", function(body, stop)
        local hex, digits = body:match("^#(x?)(%x+)$")
        local code = digits and #digits < 9 and tonumber(digits, hex == "x" and 16 or 10)
        local meant = stop == ";" and (ENTITIES[body] or code and character(code))
        sound = sound and meant
        return meant or nil
    end)
    return sound and out or nil
end

-- Return a name without its prefix, and the prefix; nil if it is not a name.
local function qualified(name)
    if not name:find(":", 1, true) then
        return name
    end
    local prefix, rest = name:match("^([^:]+):([%a_][^:]*)$")
    return rest, prefix
end

-- Parse the attributes from a position on; return where they end, "/" or "", and the prefixes that they declare and use;
-- nil if they are damaged.
local function attributes(text, at)
    local seen, declared, used
    while true do
        local blank, stop, next_at = text:match("^(%s*)(/?)>()", at)
        if blank then
            return next_at, stop, declared, used
        end
        at = text:match("^%s+()", at)
        local name, quote, from = text:match(ATTRIBUTE, at or 0)
        local to = at and name and text:find(quote, from, true)
        if not to then
            return nil
        end
        local value = text:sub(from, to - 1)
        seen = seen or {}
        local rest, prefix = qualified(name)
        if seen[name] or not rest or value:find("<", 1, true) or not unescape(value) then
            return nil
        elseif prefix == "xmlns" then
            if value == "" then
                return nil
            end
            declared = declared or {}
            declared[#declared + 1] = rest
        elseif prefix then
            used = used or {}
            used[#used + 1] = prefix
        end
        seen[name], at = true, to + 1
    end
end

--- Parse a document without an XML declaration or document type.
-- `wanted` are the names of the relevant children of the root.  Returns { name =, children = }: the root's name, and those
-- children in order, each { name =, parent =, text =, within = } where `within` lists all elements in it in order.  Names
-- have no prefixes, and a text is the element's own, without that of nested elements.
-- Returns nil if the document is not well-formed.
---@param text string
---@param wanted table<string, boolean>
---@return table|nil
function M.parse(text, wanted)
    if text:find("[\0-\8\11\12\14-\31]") then
        return nil
    end
    local root
    local names, scopes, depth = {}, {}, 0  -- the open elements
    local prefixes = { xml = 1 }            -- prefix -> how many open elements declare it
    local kept, node                        -- the wanted element that is open, and the innermost one in it
    local at = 1
    while true do
        local from = text:find("<", at, true)
        local content = text:sub(at, (from or 0) - 1)
        if depth == 0 then
            if content:find("%S") then
                return nil
            end
        elseif content ~= "" then
            local value = not content:find("]]>", 1, true) and unescape(content)
            if not value then
                return nil
            elseif node then
                node[#node + 1] = value
            end
        end
        if not from then
            return depth == 0 and root or nil
        end
        local kind = text:sub(from + 1, from + 1)
        if kind == "/" then
            local name, after = text:match(END_TAG, from)
            if depth == 0 or name ~= names[depth] then
                return nil
            end
            for _, prefix in ipairs(scopes[depth] or {}) do
                prefixes[prefix] = prefixes[prefix] - 1
            end
            depth, at = depth - 1, after
            if node then
                node.text = table.concat(node)
                node = node ~= kept and node.parent or nil
            end
        elseif kind == "!" then
            local stop, last
            if text:sub(from, from + 3) == "<!--" then
                stop, last = text:find("--", from + 4, true)
                last = stop and text:sub(last + 1, last + 1) == ">" and last + 1
            elseif text:sub(from, from + 8) == "<![CDATA[" and depth > 0 then
                stop, last = text:find("]]>", from + 9, true)
                if stop and node then
                    node[#node + 1] = text:sub(from + 9, stop - 1)
                end
            end
            if not last then
                return nil
            end
            at = last + 1
        elseif kind == "?" then
            local name, blank = text:match(INSTRUCTION, from)
            local _, last = text:find("?>", from + 2, true)
            if not (name and last) or name:lower() == "xml" or name:find(":", 1, true) or not blank:find("[%s?]") then
                return nil
            end
            at = last + 1
        else
            local name, after = text:match(START_TAG, from)
            local rest, prefix = qualified(name or ":")
            local stop, declared, used
            if rest then
                after, stop, declared, used = attributes(text, after)
            end
            if not rest or not after or depth == 0 and root or depth >= DEEPEST then
                return nil
            end
            for _, one in ipairs(declared or {}) do
                prefixes[one] = (prefixes[one] or 0) + 1
            end
            for _, one in ipairs(used or {}) do
                if (prefixes[one] or 0) == 0 then
                    return nil
                end
            end
            if prefix and (prefixes[prefix] or 0) == 0 then
                return nil
            end
            depth, at = depth + 1, after
            names[depth], scopes[depth] = name, declared
            if depth == 1 then
                root = { name = rest, children = {} }
            elseif node then
                node = { name = rest, parent = node }
                kept.within[#kept.within + 1] = node
            elseif depth == 2 and wanted[rest] then
                node = { name = rest, within = {} }
                kept, root.children[#root.children + 1] = node, node
            end
            if stop == "/" then
                for _, one in ipairs(declared or {}) do
                    prefixes[one] = prefixes[one] - 1
                end
                depth = depth - 1
                if node then
                    node.text = ""
                    node = node ~= kept and node.parent or nil
                end
            end
        end
    end
end

return M
