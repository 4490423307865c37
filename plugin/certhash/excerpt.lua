-- Phones' configuration files as somebody saved them from a terminal: a vpnGroup by itself, or a log with prompts around
-- the file, the pager's --More-- in it, and lines that a window broke.
--
--   local file, problem = excerpt.read(name, content)
--
-- For what cnf.read refused.  The companion (scripts/certhash/cnf/excerpts.py) reads more: texts with time stamps or quote
-- marks, from pages, and of several files.  What is read here it reads alike; the rest is refused here.

local M = {}

local cnf, xml

--- Give this module the ones that it builds on.
---@param others table<string, table> the modules, by name
function M.using(others)
    cnf, xml = others.cnf, others.xml
    return M
end

local SEVERAL = "it shows several files or vpnGroup elements, and which one counts is not known"
local NO_END = "its vpnGroup has no end: copy all from <vpnGroup> to </vpnGroup>"

-- The pager's words and the blanks after them, as they stand without backspaces.  With backspaces, what the pager covered
-- is worked out from those: IOS rubs nine places out.
local function without_pager(text)
    local function gone(blanks, after)
        return after == "" and (" "):rep(#blanks >= 9 and #blanks - 9 or #blanks - 1) or nil
    end
    text = text:gsub(" ?%-%-?More%-%-?( *)(\b?)", gone)
    return (text:gsub(" ?<%-+ More %-+>( *)(\b?)", gone))
end

-- What a screen shows of a line with backspaces: each goes one place back, and text overwrites.
local function rubbed_out(line)
    local cells, at = {}, 1
    for character in line:gmatch(".") do
        if character == "\b" then
            at = math.max(at - 1, 1)
        else
            cells[at], at = character, at + 1
        end
    end
    return (table.concat(cells):gsub(" +$", ""))
end

-- A terminal's log as the device wrote it; nil where that is not certain.
local function cleaned(text)
    text = text:gsub("\27%[[\48-\63]*[\32-\47]*[\64-\126]", ""):gsub("[\1-\7\11-\31\127]", "")
    text = without_pager(text)
    local certain = true
    if text:find("\b", 1, true) then
        text = text:gsub("[^\n]*", function(line)
            if line:find("\b", 1, true) then
                certain = certain and not line:find("[\128-\255]")
                return rubbed_out(line)
            end
        end)
    end
    return certain and text or nil
end

-- Undo a window's line breaks: a line as long as the longest goes on in the next.  The first line may begin before the
-- part that is looked at.
local function joined(text, before)
    local lines, window = {}, 0
    for line in (text .. "\n"):gmatch("([^\n]*)\n") do
        lines[#lines + 1] = line
        local length = #line + (#lines == 1 and before or 0)
        window = math.max(window, length)
    end
    if window < 40 then
        return text
    end
    local out, full = {}, false
    for i, line in ipairs(lines) do
        if not (full and line == "" and not out[#out]:find(">$")) then  -- else the pager stood there
            if i > 1 and not (full and line:find("^[^ ]")) then
                out[#out + 1] = "\n"
            end
            out[#out + 1] = line
            full = #line + (i == 1 and before or 0) == window
        end
    end
    return table.concat(out)
end

-- How many tags of a name begin in a text, and where the first does.
local function beginnings(text, name)
    local number, first = 0, nil
    for at in text:gmatch("()<" .. name .. "%f[%s/>]") do
        number, first = number + 1, first or at
    end
    return number, first
end

-- Whether what stands before a signed file is more than a declaration: then it is the header, as a terminal shows it.
local function header_is_lost(name, before)
    return name:lower():find("%.sgn$") and before:gsub("<%?xml[^<>]*%?>", ""):find("%S")
end

-- Whether another file of a phone's is named in the text around.
local function names_another(text, device)
    for word in text:gmatch("%S+") do
        if word:lower():find(".cnf.xml", 1, true) and cnf.device((word:gsub("[:,;]+$", ""))) ~= device then
            return true
        end
    end
    return false
end

-- Whether a hash stands outside the part of a text that is read.
local function loses_a_hash(text, from, to)
    local rest = text:sub(1, from - 1) .. " " .. text:sub(to + 1)
    return rest:find("<[cC][eE][rR][tT][hH][aA][sS][hH]%d+%s*>%s*[%w+/=][%w+/=][%w+/=][%w+/=]")
end

-- The vpnGroup of a vpnGroup that stands by itself.
local function fragment(text, from)
    local _, stop = text:find("</vpnGroup%s*>", from)
    if not stop then
        return nil, NO_END
    elseif text:find("^[^<]*%-%->", stop + 1) then
        return nil, "the end of a comment follows its vpnGroup: it may not count"
    elseif loses_a_hash(text, from, stop) then
        return nil, "a certHash stands outside its vpnGroup, and whether it counts is not known"
    end
    local body = joined(text:sub(from, stop), #text:sub(1, from - 1):match("[^\n]*$"))
    local root = xml.parse("<device>" .. body .. "</device>", cnf.wanted)
    local group = root and root.children[1]
    if not group then
        return nil, "it is damaged or cut short within its vpnGroup"
    end
    return group
end

--- Read a configuration file out of what a terminal showed of it.
-- Returns what cnf.read returns; nil, and what is wrong where it can be said, for everything else.
---@param name string
---@param content string
function M.read(name, content)
    local text = #content <= cnf.LARGEST and not content:find("^\1\0\2") and cnf.plain_text(content)
    text = text and not text:find("\0", 1, true) and cleaned(text)
    if not text or text:find("<!%s*[dDeE]") then
        return nil
    end
    text = cnf.without_comments(text)
    local devices, from = beginnings(text, "device")
    local defaults, other = beginnings(text, "Default")
    local groups, group_from = beginnings(text, "vpnGroup")
    from = from or other
    if devices + defaults + groups == 0 then
        return nil
    elseif devices + defaults > 1 or groups > 1 or groups == 1 and from and group_from < from then
        return nil, SEVERAL
    end
    local start = from or group_from
    if header_is_lost(name, text:sub(1, start - 1)) then
        return nil, "its signed header is lost: copy the file itself, in binary mode"
    end
    local file = { device = cnf.device(name) or cnf.base_name(name), name = cnf.base_name(name), kind = "plain" }
    if names_another(text:sub(1, start - 1), file.device) then
        return nil, "it names another phone, and whose configuration it is is not known"
    end
    local whole = xml.parse(cnf.without_declaration(text), {})
    if whole and not (whole.name == "device" or whole.name == "Default" or whole.name == "vpnGroup") then
        return nil  -- a document of another kind
    end
    local group, problem
    if from then
        local stop = select(2, text:find("</device%s*>", from)) or select(2, text:find("</Default%s*>", from)) or #text
        group, problem = cnf.thorough(joined(text:sub(from, stop), #text:sub(1, from - 1):match("[^\n]*$")))
        if groups == 1 and group_from > stop or loses_a_hash(text, from, stop) then
            return nil, SEVERAL
        end
    else
        group, problem = fragment(text, group_from)
    end
    if group == nil then
        return nil, problem
    elseif not group then
        file.kind = problem or file.kind
        return file
    end
    return cnf.read_group(file, group)
end

return M
