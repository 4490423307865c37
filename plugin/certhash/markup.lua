-- Makes plain text of a configuration file's bytes, and prepares it for the parser of XML.

local M = {}

local others = ... or {}  -- the modules by name (plain.lua)
local xml = others.xml

-- Convert UTF-16 to UTF-8; return nil if it is truncated or damaged.
local function from_utf16(content, high_first)
    if #content % 2 == 1 then
        return nil
    end
    local out, pending, sound = {}, nil, true
    for i = 1, #content, 2 do
        local one, two = content:byte(i, i + 1)
        local code = high_first and one * 256 + two or two * 256 + one
        if pending then
            sound = sound and code >= 0xdc00 and code < 0xe000
            out[#out + 1] = xml.character(0x10000 + (pending - 0xd800) * 1024 + (code - 0xdc00) % 1024)
            pending = nil
        elseif code >= 0xd800 and code < 0xdc00 then
            pending = code
        else
            sound = sound and (code < 0xdc00 or code >= 0xe000)
            out[#out + 1] = xml.character(code) or "\0"  -- a character that XML forbids becomes another that XML forbids
        end
    end
    return sound and not pending and table.concat(out) or nil
end

-- Return whether bytes from 128 on are UTF-8 (RFC 3629).
local function is_utf8(text)
    local at = text:find("[\128-\255]")
    while at do
        local first = text:byte(at)
        local more = first < 0xc2 and 0 or first < 0xe0 and 1 or first < 0xf0 and 2 or first < 0xf5 and 3 or 0
        local second = text:byte(at + 1) or 0
        if more == 0 or not text:find("^" .. ("[\128-\191]"):rep(more), at + 1) or first == 0xe0 and second < 0xa0
            or first == 0xed and second > 0x9f or first == 0xf0 and second < 0x90 or first == 0xf4 and second > 0x8f then
            return false
        end
        at = text:find("[\128-\255]", at + more + 1)
    end
    return true
end

--- Return the bytes of a file as text, or nil and an error.  Encodings other than UTF-16 contain ASCII unchanged, and only
-- ASCII is relevant here.
function M.text(content)
    local start = content:sub(1, 2)
    local text = content
    if start == "\255\254" or start == "<\0" then
        text = from_utf16(start == "<\0" and content or content:sub(3), false)
    elseif start == "\254\255" or start == "\0<" then
        text = from_utf16(start == "\0<" and content or content:sub(3), true)
    elseif content:find("^\239\187\191") then
        if not is_utf8(content) then
            return nil, "its byte order mark says UTF-8, but its text is not UTF-8"
        end
        text = content:sub(4)
    elseif content:find("\0", -1, true) then
        text = content:match("^.*[^\0]")
    end
    if not text then
        return nil, "it is UTF-16 that is cut short or damaged"
    end
    return text:find("\r", 1, true) and (text:gsub("\r\n?", "\n")) or text
end

--- Return a text without its XML declaration.  (A pattern alone would search an end for each of a million starts.)
function M.without_declaration(text)
    local at, stop = 1, 0
    while true do
        local from = text:find("<?xml", at, true)
        if not from then
            return text
        elseif from >= stop then
            stop = text:find(">", from, true)
            if not stop then
                return text
            end
        end
        local next_tag = text:find("<", from + 5, true) or #text + 1
        if stop < next_tag and stop > from + 5 and text:sub(stop - 1, stop - 1) == "?"
            and not text:find("^[%w_]", from + 5) then
            return text:sub(1, from - 1) .. text:sub(stop + 1)
        end
        at = from + 5
    end
end

--- Return a text without its comments, and whether one is unclosed; that one extends to the end.
function M.without_comments(text)
    local out, at = {}, 1
    while true do
        local from = text:find("<!--", at, true)
        out[#out + 1] = text:sub(at, (from or 0) - 1)
        if not from then
            return table.concat(out), false
        end
        local _, last = text:find("-->", from + 4, true)
        if not last then
            return table.concat(out), true
        end
        at = last + 1
    end
end

local ENTITIES = { amp = true, lt = true, gt = true, quot = true, apos = true }

--- Return a text with its bare ampersands escaped: they occur in URLs, but a strict parser refuses them.
function M.with_references(text)
    if not text:find("&", 1, true) then
        return text
    end
    return (text:gsub("&([^&;]*)(;?)", function(body, stop)
        if stop == "" or not (ENTITIES[body] or body:find("^#%d+$") or body:find("^#x%x+$")) then
            return "&amp;" .. body .. stop
        end
    end))
end

--- Return a text without white space around it.
function M.trim(text)
    local from = text:find("%S")
    return from and text:match(".*%S", from) or ""
end

--- Return how often a piece occurs in a part of a text.
function M.occurrences(text, piece, from, to)
    local number = 0
    local at, last = text:find(piece, from, true)
    while at and at <= to do
        number = number + 1
        at, last = text:find(piece, last + 1, true)
    end
    return number
end

return M
